"""The only code that uses Horovod and MPI."""
