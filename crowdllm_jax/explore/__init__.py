"""A local page on which one filters a population and sees its answers beside held-out people's."""
