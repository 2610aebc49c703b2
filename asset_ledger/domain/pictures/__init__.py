"""Pictures as SVG text: lines of the last days, and what hangs together. Pure: the same values, the same text."""
