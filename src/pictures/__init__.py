"""What people look at: figures, the moving picture, pages."""
