"""The one exception that a user's mistake raises."""


class UserError(ValueError):
    """A mistake its maker can mend. The message is one line: the rule, the value, the nearest fix.

    The command line prints it as `videosyn: MESSAGE` and exits with 2, without a traceback.
    """
