"""Turn a training state into the bundled checkpoint: `python -m training.export`."""

from sam3_engine.bundled import BUNDLED_TINY, save_bundled
from training.arguments import Parser, existing_file, new_file
from training.states import averaged_model
from training.tokens import known_token_ids


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument(
        "--state", type=existing_file, default="runs/tiny/state.pt", help="of a run of training.train"
    )
    parser.add_argument("--out", type=new_file, default=BUNDLED_TINY, help="the bundled file to write")
    args = parser.parse_args()
    model = averaged_model(args.state)
    save_bundled(model.state_dict(), known_token_ids(model), args.out)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
