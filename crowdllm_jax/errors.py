"""The exception and the warning that a user is meant to read."""


class CrowdError(ValueError):
    """A user's mistake, told in one message that names the place and the remedy."""


class PeerError(CrowdError):
    """Another process of the run has ended, or cannot be reached."""


class CrowdWarning(UserWarning):
    """Something that a user should look at, though the work goes on."""
