"""What a finished network says: evaluation, prediction, export."""
