"""The app in a browser: needs the optional extra ``web``."""
