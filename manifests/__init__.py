"""What the sender promises: manifests, their mapping and the checks of a row. Pure: no I/O, no asyncio, no clock."""
