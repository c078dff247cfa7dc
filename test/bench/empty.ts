/** A module with nothing in it: what importing anything costs. */
export {};
