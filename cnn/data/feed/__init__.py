"""From stored images to augmented batches on the device."""
