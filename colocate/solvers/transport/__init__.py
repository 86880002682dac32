"""One task beside one service: the transportation problem, as a flow or as an assignment."""
