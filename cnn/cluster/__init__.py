"""The only code that knows Horovod and MPI."""
