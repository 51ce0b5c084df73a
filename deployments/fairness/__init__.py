"""Shares of a bounded number of places, by tenant and weight. No Ray, no HTTP.

queue    whose request goes next: the algorithm, without clock and event loop
places   the same for coroutines, which wait for their turn
limit    how many requests there may be, so that none waits long: learnt from their waiting times
"""
