"""The flow: everything that carries an import from the door to the lake."""
