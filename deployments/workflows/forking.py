"""Keeping a process at one thread, so that it can fork others."""

ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    # The allocator of pyarrow, which pandas imports where it is installed.
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""Variables with which libraries start no thread when they are imported. A fork copies one thread alone, and locks as
other threads hold them."""
