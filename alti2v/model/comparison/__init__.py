"""Parts of `alti2v compare`: taggers of any family on the same pictures, over the tags that all know."""
