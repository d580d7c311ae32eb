"""What surrounds the person in a drawing: scenery, objects and effects."""
