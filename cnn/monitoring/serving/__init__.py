"""What other programs read while a run trains: Prometheus, Kubernetes and Kubeflow Trainer."""
