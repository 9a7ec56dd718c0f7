"""How a model of each configuration class is made up: a function from the configuration to a `Decoder`, a file a family."""
