"""The page: what a person sees in a browser. Templates and forms; works without JavaScript."""
