"""Training: the loop every net shares."""
