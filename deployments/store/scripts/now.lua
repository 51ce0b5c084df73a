return stamp()
