"""What a bundle's engine gives, drawn into pictures: boxes, classes or masks, one bundle beside another."""
