"""The one exception a user is meant to read."""


class CrowdError(ValueError):
    """A user's mistake, told in one message that names the place and the remedy."""
