"""Long runs that look for inputs on which the OpenPGP reader breaks a rule; fuzz/README.md says how to run them."""
