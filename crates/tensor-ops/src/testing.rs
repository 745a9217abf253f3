//! What the tests of layers share: comparisons, gradient checks, fixtures and tables of cases.
//!
//! Behind the feature `testing`. The functions panic where a test is meant to fail.
//!
//! ```
//! use ndarray::array;
//! use tensor_ops::testing::{assert_all_close, numeric_gradient};
//!
//! let x = array![1.0, -2.0, 3.0];
//! let gradient = numeric_gradient(&x, |x| x.iter().map(|v| v * v).sum());
//! assert_all_close(&gradient, &array![2.0, -4.0, 6.0], 1e-7, 1e-9);
//! ```

mod allocations;
mod cases;
mod compare;
mod fixture;
mod gradient;
mod peak;
mod threads;

pub use allocations::{CountingAllocator, allocations_of_steps};
pub use cases::run_cases;
pub use compare::{assert_all_close, assert_bits_equal};
pub use fixture::{Fixture, load_fixture};
pub use gradient::{check_parameter_gradients, numeric_gradient, seeded_array};
pub use peak::multiply_add_in_registers;
pub use threads::{THREAD_COUNTS, assert_independent_of_threads, with_threads};
