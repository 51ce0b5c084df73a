"""Turn a training state into the bundled checkpoint: `python -m training.export`."""

import argparse
from pathlib import Path

from sam3_engine.bundled import BUNDLED_TINY, save_bundled
from training.arguments import existing_file
from training.states import averaged_model
from training.tokens import known_token_ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=existing_file, default="runs/tiny/state.pt")
    parser.add_argument("--out", type=Path, default=BUNDLED_TINY)
    args = parser.parse_args()
    model = averaged_model(args.state)
    save_bundled(model.state_dict(), known_token_ids(model), args.out)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
