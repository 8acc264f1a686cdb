// Says of each bundle named what a reader finds: `ok ID`, or what is wrong with it, a line each.
#include <iostream>

#include "fieldtune/bundle.hpp"

int main(int count, char** words) {
  for (int i = 1; i < count; ++i) {
    try {
      const auto bundle = fieldtune::read_bundle(words[i]);
      std::cout << "ok " << bundle.id << "\n";
    } catch (const fieldtune::BundleError& error) {
      std::cout << error.what() << "\n";
    }
  }
}
