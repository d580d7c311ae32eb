"""The person in a drawing: body, face, hair and clothes."""
