#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""An autoencoder: 8x8 images of digits through a narrow layer and back, beside principal components.

    python examples/autoencoder.py [--code 8] [--epochs 150]

The network learns to give back its input, 64-128-CODE-128-64; what the narrow layer holds describes the image.
Principal components are the best linear description of that length, so what the network does better is what is not
linear in handwriting. Both are measured on the last 297 images. Images lie writer by writer, so that most of these are
by people of whom neither has seen a digit.
"""

import argparse

import numpy as np

import fastnn as fn
from fastnn.datasets import load_digits

SHADES = " .:-=+*#%@"


def principal_components(X_train, X_test, count):
    """X_test as the mean plus its projection on the directions in which X_train varies most."""
    mean = X_train.mean(axis=0)
    directions = np.linalg.svd(X_train - mean, full_matrices=False)[2][:count]
    return mean + (X_test - mean) @ directions.T @ directions


def show(*images):
    """Images of 8x8 pixels side by side, as text."""
    for rows in zip(*(image.reshape(8, 8) for image in images), strict=True):
        shades = (np.clip(row * len(SHADES), 0, len(SHADES) - 1).astype(int) for row in rows)
        print("   ".join("".join(2 * SHADES[shade] for shade in row) for row in shades))


def main(argv=None):
    parser = argparse.ArgumentParser(description="An autoencoder of handwritten digits, beside principal components.")
    parser.add_argument("--code", type=int, default=8, help="numbers that describe an image (default: 8)")
    parser.add_argument("--epochs", type=int, default=150, help="passes over the images (default: 150)")
    arguments = parser.parse_args(argv)

    if not 1 <= arguments.code <= 60:
        parser.error("--code must be in 1..60: 61 of the 64 pixels vary, so 61 principal components give an image back")

    images, _ = load_digits()
    X = images.astype(np.float32) / 16
    X_train, X_test = X[:1500], X[1500:]

    net = fn.Sequential(
        [
            fn.Dense(128, "relu"),
            fn.Dense(arguments.code, name="code"),
            fn.Dense(128, "relu"),
            fn.Dense(64, "sigmoid"),  # pixels are in 0..1
        ],
        inputs=64,
        seed=0,
    )
    net.fit(
        X_train,
        X_train,
        loss="mse",
        optimizer=fn.Adam(3e-3),
        schedule=fn.CosineSchedule(warmup=50),
        epochs=arguments.epochs,
        batch_size=64,
        verbose=0,
    )

    by_network, by_components = net.predict(X_test), principal_components(X_train, X_test, arguments.code)
    print("an image, by the network, by principal components:\n")
    show(X_test[0], by_network[0], by_components[0])
    ours, theirs = (float(((found - X_test) ** 2).mean()) for found in (by_network, by_components))
    print(f"\nmean squared error of a pixel, {arguments.code} numbers an image, images not seen before:")
    print(f"network {ours:.5f}, principal components {theirs:.5f}: {100 * (1 - ours / theirs):.0f} % less")


if __name__ == "__main__":
    main()
