mod fake;
mod hostile;
mod sync;
mod world;
