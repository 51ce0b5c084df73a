"""SAM 3 as pure functions: images in, embeddings out; embedding and prompts in, masks out.

Nothing heavy is imported here, so that processes without torch (the ingress) can use the torch-free modules
(`types`, `errors`, `images`, `embedding`) at no cost.
"""

import warnings

# The sam3 package decorates with CUDA autocast and torch.jit at import, and enters CUDA autocast in every decoder
# layer. On a machine without CUDA, each of these warns every time.
warnings.filterwarnings("ignore", message="CUDA is not available or torch_xla is imported")
warnings.filterwarnings("ignore", message="User provided device_type of 'cuda', but CUDA is not available")
warnings.filterwarnings("ignore", message=".*torch.jit.script. is deprecated")
