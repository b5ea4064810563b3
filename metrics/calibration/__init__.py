"""Does a detector's distance rise when real images are damaged? And is it known to fail on a dataset?"""
