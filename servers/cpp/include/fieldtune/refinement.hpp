// Places of z between a bundle's particles, at which a whole context is weighed too: the algebra of
// fieldtune.robot.policy's refinement.py, number by number. It must not know networks.
#pragma once

#include <cstddef>

#include "fieldtune/posterior.hpp"
#include "fieldtune/views.hpp"

namespace fieldtune {

constexpr std::size_t kPlaces = 200;
constexpr std::size_t kMost = 4000;  // transitions: a context of more is sure of its z

// Where z may be besides, (kPlaces, latent): places drawn by weight, each moved by a part of the way
// between two of the bundle's own particles; the likeliest stays where it is. None is outside the
// box that those fill. Nothing is random; where every place is as likely, none is moved. Raises
// PolicyError for a place of another size.
void places(const ParticlePosterior& posterior, Numbers found);

}  // namespace fieldtune
