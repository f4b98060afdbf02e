"""Programs that measure the service beside a floor, in one run, and print ratios."""
