#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Reinforcement learning: a cart that learns to balance a pole, with a training loop of its own.

    python examples/cart_pole.py [--seed 0] [--iterations 80]

The cart is pushed left or right fifty times a second. An episode ends when the pole leans more than 12 degrees, when
the cart is 2.4 m from the middle, or after 500 steps; each step is worth 1. The policy learns by REINFORCE with a
baseline (Williams 1992): what was done in states that went better than the baseline expected becomes likelier, by
``forward`` and ``backward``. The baseline is a second network, trained by ``train_step``. Physics and limits are those
of Barto, Sutton & Anderson 1983, in the form known from OpenAI's Gym, where an average of 195 counts as solved (475
with 500 steps).
"""

import argparse
import time

import numpy as np

import fastnn as fn

LIMIT = 500  # steps of an episode
CARTS = 24  # that run at the same time
DISCOUNT = 0.99


class CartPoles:
    """Many carts at once; a state is (position, velocity, angle, angular velocity), in m, m/s, rad, rad/s."""

    GRAVITY, FORCE, INTERVAL = 9.8, 10.0, 0.02  # m/s^2, N, s
    CART, POLE, HALF_LENGTH = 1.0, 0.1, 0.5  # kg, kg, m
    FARTHEST, STEEPEST = 2.4, np.deg2rad(12)

    def __init__(self, count, random):
        self.state = random.uniform(-0.05, 0.05, (count, 4))

    def step(self, right):
        """Push each cart to the right or to the left; which of them have failed."""
        _, velocity, angle, spin = self.state.T
        force = np.where(right, self.FORCE, -self.FORCE)
        sine, cosine, mass = np.sin(angle), np.cos(angle), self.CART + self.POLE
        pushed = (force + self.POLE * self.HALF_LENGTH * spin**2 * sine) / mass
        inertia = self.HALF_LENGTH * (4 / 3 - self.POLE * cosine**2 / mass)
        twist = (self.GRAVITY * sine - cosine * pushed) / inertia
        acceleration = pushed - self.POLE * self.HALF_LENGTH * twist * cosine / mass
        self.state += self.INTERVAL * np.stack([velocity, acceleration, spin, twist], axis=1)
        return (np.abs(self.state[:, 0]) > self.FARTHEST) | (np.abs(self.state[:, 2]) > self.STEEPEST)


def softmax(z):
    shifted = np.exp(z - z.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def play(act, count, random):
    """One episode with each of `count` carts -> states and actions (steps, count, ...), and which steps were alive."""
    carts, alive = CartPoles(count, random), np.ones(count, bool)
    states, actions, lived = [], [], []
    while alive.any() and len(states) < LIMIT:
        action = act(carts.state)
        states.append(carts.state.copy())
        actions.append(action)
        lived.append(alive)
        alive = alive & ~carts.step(action == 1)
    return np.array(states), np.array(actions), np.array(lived)


def returns(lived):
    """The discounted number of steps from each one to the end of its episode."""
    total, found = np.zeros(lived.shape[1]), np.empty(lived.shape)
    for t in reversed(range(len(lived))):
        total = np.where(lived[t], 1 + DISCOUNT * total, 0)
        found[t] = total
    return found


def learn(seed, iterations, report=print):
    """A policy network, trained from nothing."""
    random = np.random.default_rng(seed)
    policy = fn.Sequential([fn.Dense(32, "tanh"), fn.Dense(2)], inputs=4, seed=seed)
    baseline = fn.Sequential([fn.Dense(32, "tanh"), fn.Dense(1)], inputs=4, seed=seed + 1)
    for_policy, for_baseline = fn.Adam(0.01), fn.Adam(0.01)

    for iteration in range(iterations):
        predictor = policy.predictor()  # frozen weights: fast to call with few rows

        def act(states, predictor=predictor):
            return (random.random(len(states)) < softmax(predictor(states))[:, 1]).astype(int)

        states, actions, lived = play(act, CARTS, random)
        x, action, gain = states[lived], actions[lived], returns(lived)[lived] * (1 - DISCOUNT)  # gains within 0..1
        advantage = gain - baseline.predict(x)[:, 0]
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)

        # L = -mean(advantage log p(action)); of logits, dL/dz_j = advantage (p_j - (j = action)) / rows
        p = softmax(policy.forward(x, training=True))
        p[np.arange(len(p)), action] -= 1
        policy.backward(p * advantage[:, np.newaxis] / len(p), input_gradient=False)
        for_policy.step(policy)
        for _ in range(10):
            baseline.train_step(x, gain, "mse", for_baseline)
        if iteration % 10 == 9:
            report(f"{iteration + 1:9}   {lived.sum() / CARTS:6.1f}")
    return policy


def average(policy, episodes=100, seed=12345):
    """Mean length of episodes with new starts, the likelier action always taken."""
    predictor = policy.predictor()
    _, _, lived = play(lambda states: predictor(states).argmax(axis=1), episodes, np.random.default_rng(seed))
    return lived.sum() / episodes


def main(argv=None):
    parser = argparse.ArgumentParser(description="Learn to balance a pole on a cart.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--iterations", type=int, default=80, help="updates of the policy (default: 80)")
    arguments = parser.parse_args(argv)
    start = time.perf_counter()
    print("iteration   steps of an episode while learning")
    policy = learn(arguments.seed, arguments.iterations)
    seconds = time.perf_counter() - start
    print(f"\naverage of 100 episodes {average(policy):.1f} of {LIMIT}, after {seconds:.1f} s")


if __name__ == "__main__":
    main()
