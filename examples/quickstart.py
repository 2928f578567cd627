import fastnn as fn
from fastnn.datasets import load_digits

X, y = load_digits()  # 1,797 images of 8x8 pixels, and the digits they show
net = fn.Sequential([fn.Dense(64, "relu"), fn.Dense(10, "softmax")], seed=0)
net.fit(X[:1500] / 16, y[:1500], epochs=30, verbose=0)
print(net.evaluate(X[1500:] / 16, y[1500:], metrics=["accuracy"]))

f = net.predictor()  # frozen weights, one row in well under a microsecond
print(f.argmax(X[1500] / 16), y[1500])

net.save("digits.fnn")
net = fn.load("digits.fnn")
