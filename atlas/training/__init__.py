"""Training: heads on frozen trunks, whole networks, and scorers.

Both eyes of a patient always fall on the same side of a split. Everything is decided by seeds; sums of floats still depend on the
number of threads and on the machine's arithmetic, so the same result to the last bit needs the same machine and
`torch.set_num_threads`, which is the caller's to set.
"""
