"""Copies between host and device; on a GPU also that none of them waits."""

import numpy as np
import pytest
import torch

from sam3_engine.transfer import IN_FLIGHT, Transfer, as_array, as_tensor

CPU = torch.device("cpu")
without = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.uint8])
def test_arrays_become_tensors_and_back_without_a_copy(dtype: type[np.generic]) -> None:
    array = np.arange(6, dtype=dtype).reshape(2, 3)
    array.flags.writeable = False  # as in shared memory
    tensor = as_tensor(array)
    assert tensor.dtype == (torch.bfloat16 if dtype is np.uint16 else torch.from_numpy(array.copy()).dtype)
    back = as_array(tensor)
    assert np.array_equal(back, array)
    assert np.shares_memory(back, array)


def test_a_single_array_stays_where_it_is_on_a_cpu() -> None:
    array = np.ones((2, 3), np.float32)
    assert Transfer(CPU).to_device([array]).data_ptr() == array.ctypes.data


def test_several_arrays_are_stacked() -> None:
    arrays = [np.full((2, 3), value, np.float32) for value in (1, 2)]
    assert torch.equal(Transfer(CPU).to_device(arrays), torch.from_numpy(np.stack(arrays)))


@pytest.mark.parametrize(
    "device", [CPU, pytest.param(torch.device("cuda:0"), marks=[pytest.mark.gpu, without])], ids=str
)
def test_rows_come_in_memory_of_their_own(device: torch.device) -> None:
    """An image that is kept must not keep its whole batch."""
    transfer = Transfer(device)
    wide, narrow = torch.randn(3, 4, 5), torch.randn(3, 2)
    arriving = transfer.to_host([wide.to(device), narrow.to(device)])
    assert len(arriving) == 3
    for index, row in enumerate(arriving):
        first, second = row.wait()
        assert torch.equal(first, wide[index])
        assert torch.equal(second, narrow[index])
        assert first.untyped_storage().nbytes() == first.nbytes
    transfer.wait_for_room()


@pytest.mark.gpu
@without
def test_a_third_batch_waits_for_the_first() -> None:
    device = torch.device("cuda:0")
    transfer = Transfer(device)
    for _ in range(2 * IN_FLIGHT):
        transfer.wait_for_room()
        transfer.to_host([torch.ones(1, 1000, device=device)])
    assert len(transfer._under_way) <= IN_FLIGHT
