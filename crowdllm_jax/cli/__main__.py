"""`python -m crowdllm_jax.cli` is `crowdllm`."""

from crowdllm_jax.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
