"""Operations that are fast where PyTorch's own are not, behind plain functions: the same values, the same gradients."""
