"""The HTTP API: transport, authentication, HPKE, and the endpoints behind them."""
