"""`python -m crowdllm_jax`, the same as `crowdllm`."""

import sys

from crowdllm_jax.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
