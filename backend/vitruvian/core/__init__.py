"""Types that pass between the stages, camera and colour maths, user errors. Imports no other room."""
