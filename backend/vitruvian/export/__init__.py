"""Files for people: GLB, PNG, GIF, and the results folder. Imports core and render only."""
