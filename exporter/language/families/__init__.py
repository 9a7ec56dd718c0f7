"""How a model is made up, by its configuration class: a function from the configuration to a `Decoder`, a file each."""
