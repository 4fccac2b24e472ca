"""Training: heads on frozen trunks, complete networks, and scorers.

Both eyes of a patient are always in the same part of a split. Seeds decide everything random. Sums of floats still depend on the
number of threads and on the machine's arithmetic, so the same result to the last bit needs the same machine and the same
`torch.set_num_threads`, which the caller sets.
"""
