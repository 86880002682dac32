"""What the judge is made of; `colocate.verify` is its front. It looks at nothing that plans."""
