"""Watch a pursuit: a camera and a player that know no window, and a pygame window that shows them."""
