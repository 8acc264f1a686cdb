"""The pages, figures and pictures of a run. Measures nothing but the filmed trial."""
