// Two trees hold the same words in the same order, whatever their shapes: a walk is a generator, so
// both can be walked side by side, no further than they agree. It is the recursion that one would
// write to print them.
//   tree_walk
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <coir/coir.hpp>

namespace {

struct node {
  std::string word;
  std::unique_ptr<node> left, right;
};

void insert(std::unique_ptr<node>& at, const std::string& word) {
  if (at == nullptr)
    at = std::make_unique<node>(node{word, nullptr, nullptr});
  else
    insert(word < at->word ? at->left : at->right, word);
}

std::unique_ptr<node> tree_of(const std::vector<std::string>& words) {
  std::unique_ptr<node> root;
  for (const std::string& w : words) insert(root, w);
  return root;
}

using words = coir::generator<const std::string&>;

void walk(const node* n, words::yield_type& yield) {
  if (n == nullptr) return;
  walk(n->left.get(), yield);
  yield(n->word);
  walk(n->right.get(), yield);
}

words in_order(const node& root) {
  return words([&root](auto& yield) { walk(&root, yield); });
}

void compare(const node& a, const node& b) {
  words left = in_order(a), right = in_order(b);
  auto l = left.begin();
  auto r = right.begin();
  for (; l != left.end() && r != right.end(); ++l, ++r) {
    if (*l == *r) continue;
    std::cout << "they differ: " << *l << ", " << *r << '\n';
    return;
  }
  std::cout << (l == left.end() && r == right.end() ? "the same words\n" : "one is longer\n");
}

}  // namespace

int main() {
  const auto balanced = tree_of({"kiwi", "fig", "plum", "date", "lime"});
  const auto a_list = tree_of({"date", "fig", "kiwi", "lime", "plum"});
  const auto another = tree_of({"plum", "lemon", "fig", "date", "kiwi"});

  for (const std::string& w : in_order(*balanced)) std::cout << w << ' ';
  std::cout << '\n';
  compare(*balanced, *a_list);
  compare(*balanced, *another);
}
