// Vectors of the instruction set that this translation unit is compiled for, and the few functions on them that are needed.
#pragma once

#include "simd/math.hpp"
#include "simd/memory.hpp"
#include "simd/target.hpp"
